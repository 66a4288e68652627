"""How MONAI runs a model folder whose one transform is CardiacAI's own: the part of inference.json that is the same."""

#: MONAI's handler that puts the bundle's weights into its network.
LOAD_WEIGHTS = {
    "_target_": "CheckpointLoader",
    "load_path": "$@bundle_root + '/models/model.pt'",
    "load_dict": {"model": "@network"},
    "map_location": "@device",
    "strict": True,
}


def workflow(network_def: dict, transform: dict, told_beside: list[str] | None = None) -> dict:
    """inference.json for `python -m monai.bundle run --config_file configs/inference.json --dataset_dir ...`.

    The folder holds images and datalist.json: a list of what `transform` takes, `image` as a file name. transform: from
    such an entry to a batch (`image`), with what the network is told beside it under the names `told_beside`. Answers
    are written to `<output_dir>/<name>.npy` as they are.
    """
    asked = {"prepare_batch": {"_target_": "PrepareBatchExtraInput", "extra_keys": told_beside}} if told_beside else {}
    return {
        "imports": ["$import json", "$import pathlib"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$json.loads((pathlib.Path(@dataset_dir) / 'datalist.json').read_text())",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network_def,
        "network": "$@network_def.to(@device)",
        # the one description of the preprocessing: MONAI runs it, `CardiacAILib.engines.model` reads it
        "preprocessing": {"_target_": "Compose", "transforms": [transform]},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[one | {'image': str(pathlib.Path(@dataset_dir) / one['image'])} for one in @datalist]",
            "transform": "@preprocessing",
        },
        # an image is a batch: its slices
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": None,
            "collate_fn": "$lambda stack: stack",
            "num_workers": 0,
        },
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "CardiacAITraining.mass_bundle.SaveAnswerd", "folder": "@output_dir"}],
        },
        "handlers": [LOAD_WEIGHTS],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            **asked,
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "decollate": False,
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }
