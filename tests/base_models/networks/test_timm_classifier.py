import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from base_models import create_model


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"'timm:resnet10t', but it is not installed; .*\[timm\]"):
        create_model("timm:resnet10t")


def test_timm_is_asked_for_classes_and_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def create(name: str, **options: Any) -> torch.nn.Module:
        asked.update(options, name=name)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(options["num_classes"]))
        network.pretrained_cfg = {"mean": (0.5, 0.5, 0.4), "std": (0.2, 0.2, 0.1)}
        return network

    stand_in = ModuleType("timm")
    stand_in.list_models = lambda include_tags=False: ["resnet10t.c3_in1k"] if include_tags else ["resnet10t"]
    stand_in.create_model = create
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    network = create_model("timm:resnet10t", 3, 2)
    assert asked == {"name": "resnet10t", "pretrained": False, "num_classes": 3, "in_chans": 2}
    assert network(torch.zeros(4, 2, 8, 8)).shape == (4, 3)
    assert network.published_normalisation == ((0.5, 0.5, 0.4), (0.2, 0.2, 0.1))
    create_model("timm:resnet10t.c3_in1k")
    assert asked["name"] == "resnet10t.c3_in1k"
    with pytest.raises(ValueError, match="behind 'timm:', got 'lenet'"):
        create_model("timm:lenet")


def test_a_real_timm_model() -> None:
    pytest.importorskip("timm", reason="the extra [timm] is not installed")
    for name in ("resnet10t", "resnet10t.c3_in1k"):
        network = create_model(f"timm:{name}", 3, 1).eval()
        assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 3)
        assert network.published_normalisation == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(ValueError, match=r"got 'resnet10t\.imagenet'"):
        create_model("timm:resnet10t.imagenet")
