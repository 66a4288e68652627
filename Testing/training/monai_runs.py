"""A model folder run by MONAI alone, as its users may."""

from pathlib import Path

from monai.bundle import ConfigWorkflow


def run_bundle(folder: Path, dataset: Path, out: Path, **more) -> None:
    """Answers of the bundle on a folder of images are written to `out`. more: settings of its inference.json."""
    workflow = ConfigWorkflow(
        config_file=str(folder / "configs" / "inference.json"),
        meta_file=str(folder / "configs" / "metadata.json"),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(folder),
        dataset_dir=str(dataset),
        output_dir=str(out),
        **more,
    )
    workflow.initialize()
    assert not workflow.check_properties()
    workflow.run()
    workflow.finalize()
