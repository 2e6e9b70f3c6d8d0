"""The loop that people write today: timm's own dataset, loader, transforms and model.

The weights are random, since speed does not depend on them and nothing is downloaded. Nothing is
written anywhere, and nothing of the product is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH = 64


def classify(photos: Path, dtype: str, cores: int, done: Callable[[int], None], *, for_ever: bool) -> None:
    """All photos under a folder, once or again and again; ``done`` is told after each batch."""
    import timm
    import torch

    torch.set_num_threads(cores)
    model = timm.create_model("efficientnet_lite0").eval().to(memory_format=torch.channels_last)
    loader = _loader(model, photos, cores)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        while True:
            for pixels, _ in loader:
                model(pixels.to(memory_format=torch.channels_last)).float().softmax(-1).topk(5)
                done(len(pixels))
            if not for_ever:
                return


def _loader(model: Any, photos: Path, cores: int) -> Any:
    import torch
    from timm.data import create_dataset, create_loader, resolve_model_data_config

    config = resolve_model_data_config(model)
    return create_loader(
        create_dataset("", root=str(photos)),
        input_size=config["input_size"],
        batch_size=BATCH,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        crop_pct=config["crop_pct"],
        num_workers=cores,
        device=torch.device("cpu"),
        use_prefetcher=False,  # it is for CUDA
    )
