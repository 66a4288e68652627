"""docs/results.md from the files of docs/evaluations."""
