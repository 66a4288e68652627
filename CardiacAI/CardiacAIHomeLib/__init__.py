"""Parts of the module Cardiac AI, and what the panels share: jobs, choices, terms, a panel's frame, self tests."""
