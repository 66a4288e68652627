"""cardiacai-train: trains a network from a recipe; resumable, repeatable, on a CPU, a GPU or several (torchrun).

It stops cleanly on Ctrl-C, and the same command goes on from there as if it had never stopped. With --from it goes on
with a model that is there, on your own hearts. `tensorboard --logdir RUN` draws its curves.
"""

import argparse
import os
import sys
import traceback
from pathlib import Path

import torch

from CardiacAILib.errors import Cancelled, CardiacAIError

from .loop.loop import save
from .loop.recipe import CONFIGS, TrainingError, find_recipe, read_recipe
from .loop.run_record import FINISHED, UNFINISHED, Run, log, split_patients
from .loop.setup import first_step_words, recipe_words, set_up
from .loop.start import Start, read_model, read_weights

#: The recipe of `--from` where none is named.
FINE_TUNE = "fine_tune"


def train(config: dict, data: Path, out: Path, start: Path | Start | None = None, stop_at: int | None = None) -> dict:
    """Runs or resumes a training. Everything needed to repeat it is written beside the weights.

    start: weights to begin from instead of random ones, `average.pt` of another run. stop_at: the step after which it
    stops before its end, as a proof; the run can be resumed. Returns its record (`run.json`). Raises TrainingError, and
    Cancelled when it was interrupted and everything is saved.
    """
    if isinstance(start, Path):
        start = read_weights(start)
    with set_up(config) as ready:
        ranks, task = ready.ranks, ready.task
        if start:
            start.put_into(ready.network, getattr(task, "NOT_SHIPPED", ()))
        if not ranks.first:
            torch.manual_seed(ranks.seed(config["seed"]))  # what a network itself leaves to chance
        with recipe_words():
            teacher = getattr(task, "teacher", None)
        run = Run(out, ranks)
        with first_step_words(run), recipe_words():
            split = split_patients(task.cases(data), config)
            run.begin(config, split, start, teacher)
            run.log(f"{len(split.used)} stacks to train on, {len(split.held)} held out; reading")
            words = task.load(split.used, split.judged, ready.generator)
            loop = ready.loop()
        loop.resume(run)
        run.log(f"{words} on {run.record['device']}" + f", one of {ranks.count}" * (ranks.count > 1))
        steps = loop.o["steps"]
        try:
            with first_step_words(run, loop):
                loop.run(min(stop_at or steps, steps), run, bool(split.judged))
        finally:
            loop.batches.close()
        finished = loop.step == steps
        if finished and ranks.first:
            save(loop.average.network.state_dict(), out / "average.pt")
        run.note(status=FINISHED if finished else UNFINISHED, steps=loop.step, of_steps=steps)
        run.log("done" if finished else f"{UNFINISHED}: {loop.step} of {steps} steps")
        return run.record


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cardiacai-train", description=__doc__)
    parser.add_argument("config", nargs="?", help="recipe: a .toml file, or the name of one that comes with CardiacAI")
    parser.add_argument("--data", type=Path, required=True, help="folder of hearts with labels")
    parser.add_argument("--data-name", help="of the data set; tells its patients from others who are named alike")
    parser.add_argument("--patient-pattern", help="nnU-Net: see cardiacai-check-data")
    parser.add_argument("--fold", type=int, help="hold out this fold instead of the one the recipe names; -1: none")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--start", type=Path, help="average.pt of another run, to begin from its weights")
    begin.add_argument(
        "--from",
        dest="model",
        help="go on with this model: a model folder, a shipped model's name, or a finished run's folder. Its network "
        "and its preprocessing are taken from there, the rest from the recipe",
    )
    parser.add_argument("--steps", type=int, help="stop after so many steps, as a proof; the run can be resumed")
    parser.add_argument("-o", "--out", type=Path, required=True, help="run folder; an unfinished run there is resumed")
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    arguments = parser.parse_args(argv)
    if not (arguments.config or arguments.model):
        parser.error("name a recipe, or a model to go on with (--from)")
    if arguments.steps is not None and arguments.steps < 1:
        parser.error(f"--steps {arguments.steps} should be above 0")
    try:
        _run(arguments)
    except (Cancelled, KeyboardInterrupt) as stopped:
        print(str(stopped) or "Stopped at once. The same command goes on from the last checkpoint.", file=sys.stderr)
        return Cancelled.exit_code
    except (CardiacAIError, OSError) as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return TrainingError.exit_code
    return 0


def _run(arguments: argparse.Namespace) -> None:
    config = read_recipe(find_recipe(arguments.config or FINE_TUNE))
    start = read_weights(arguments.start) if arguments.start else None
    if arguments.model:
        start = read_model(arguments.model)
        if not arguments.config:
            check_fine_tune(start, arguments.model)
        config = start.recipe(config)
    given = {"holdout_fold": arguments.fold, "name": arguments.data_name}
    given |= {"patient_pattern": arguments.patient_pattern}
    config["data"] = config.get("data", {}) | {key: value for key, value in given.items() if value is not None}
    record = train(config, arguments.data, arguments.out, start, arguments.steps)
    if record["status"] == FINISHED and os.environ.get("RANK", "0") == "0":
        publish(arguments.out, record)


def check_fine_tune(start: Start, model: str) -> None:
    """Raises TrainingError, which names the recipe to give, where `FINE_TUNE` is not for this model's task."""
    theirs = start.record["config"]
    task, recipe = theirs.get("task", "cine"), theirs.get("name")
    if task == "cine":
        return
    shipped = {path.stem: read_recipe(path) for path in sorted(CONFIGS.glob("*.toml"))}
    if recipe not in shipped:
        recipe = next((name for name, config in shipped.items() if config.get("task", "cine") == task), "RECIPE")
    raise TrainingError(
        f"{start.name} was trained for the task {task}, and the recipe {FINE_TUNE} is for cine. Name its recipe: "
        f'cardiacai-train {recipe} --from {model} ..., or better one of your own that says extends = "{recipe}", with '
        "a learning_rate a tenth as high."
    )


def publish(out: Path, record: dict) -> None:
    """Writes `model/` into the folder of a finished run, where the task's networks can be a model folder."""
    from .own_model import has_folder, write_model_folder

    if not has_folder(record["config"]):
        return
    begun = record["start"] or {}
    change = "Trained by cardiacai-train"
    if "model" in begun:
        change = f"Fine-tuned from {begun['model']} {begun['version']}"
    with recipe_words():
        write_model_folder(out, out / "model", version="0.1.0", change=change)
    log(out, f"model folder: {out / 'model'}")


if __name__ == "__main__":
    raise SystemExit(main())
