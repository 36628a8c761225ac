"""The output safety filter: an image classifier looks at each picture, on the device, inside the captured frame."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vjserver.generators.layout import read_json
from vjserver.generators.store import find_model
from vjserver.types.errors import GeneratorError


class Classifier:
    """A classifier in the transformers layout (``AutoModelForImageClassification``)."""

    def __init__(self, model: str, labels: Sequence[str], device: torch.device, dtype: torch.dtype) -> None:
        """``labels`` are those that are unsafe; case does not count. Raises GeneratorError naming what is wrong."""
        from transformers import AutoModelForImageClassification

        folder = find_model(model)
        prepared = read_json(folder / "preprocessor_config.json")
        size = prepared.get("size", 224)
        side = size if isinstance(size, int) else size.get("height", size.get("shortest_edge", 224))
        try:
            network: Any = AutoModelForImageClassification.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise GeneratorError(f"the safety filter's model {folder} cannot be read: {error}") from None
        names = {int(i): str(name).lower() for i, name in network.config.id2label.items()}
        unsafe = [i for i, name in names.items() if name in {label.lower() for label in labels}]
        if not unsafe:
            raise GeneratorError(
                f"the safety filter's model {folder} has no label of {', '.join(labels)}; "
                f"it has {', '.join(names.values())}: name the unsafe ones in [generators.diffusion.safety] labels"
            )
        self._network = network.to(device=device, dtype=dtype).eval()
        self._side, self._dtype = int(side), dtype
        self._unsafe = torch.tensor(unsafe, device=device)
        mean, std = (prepared.get(key, [0.5] * 3) for key in ("image_mean", "image_std"))
        self._mean, self._std = (torch.tensor(row, device=device)[:, None, None] for row in (mean, std))

    def __call__(self, picture: Tensor) -> Tensor:
        """Return how unsafe a picture ``(1, 3, height, width)``, 0..1, is: the sum over unsafe labels, 0..1."""
        side = (self._side, self._side)
        small = F.interpolate(picture.float(), size=side, mode="bilinear", align_corners=False, antialias=True)
        given = ((small - self._mean) / self._std).to(self._dtype)
        chances = self._network(pixel_values=given).logits.float().softmax(-1)
        return chances[0, self._unsafe].sum()
