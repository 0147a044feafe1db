"""From a name to a target. Oracles: torchvision's own parameter counts, and the files written here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import archprof
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.facts.request import PassRequest
from archprof.sources.input_spec import InputSpec
from archprof.sources.model_grammar import ModelSpec, parse_model
from archprof.sources.resolve import resolve
from archprof.sources.target import Target


def params(target: Target) -> int:
    return sum(parameter.numel() for parameter in target.model.parameters())


def image(*shape: int) -> InputSpec:
    return InputSpec(shape, batched=True)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("vgg16", ModelSpec("", "vgg16")),
        ("vgg16()", ModelSpec("", "vgg16", {})),
        ("vgg16(num_classes=10, p=-0.5)", ModelSpec("", "vgg16", {"num_classes": 10, "p": -0.5})),
        ("f(a='(x:y)', b=[(2,)], c={'k': None})", ModelSpec("", "f", {"a": "(x:y)", "b": [(2,)], "c": {"k": None}})),
        ("torchvision:resnet50", ModelSpec("torchvision", "resnet50")),
        ("a/b (1).py:Net.small(w=2)", ModelSpec("a/b (1).py", "Net.small", {"w": 2})),
        ("C:\\nets\\mine.py:Net", ModelSpec("C:\\nets\\mine.py", "Net")),
        ("pkg.mod:Net", ModelSpec("pkg.mod", "Net")),
    ],
)  # fmt: skip
def test_takes_a_name_apart(text: str, spec: ModelSpec) -> None:
    assert parse_model(text) == spec


literals: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.from_regex(r"arg_[a-z]{1,4}", fullmatch=True), literals, max_size=3))
def test_arguments_arrive_as_they_were_written(kwargs: dict[str, Any]) -> None:
    written = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
    assert parse_model(f"net.py:Net({written})") == ModelSpec("net.py", "Net", kwargs)


@given(st.text() | st.text("ab.:()='1,*\\\0", max_size=20))
@example("f(" * 200 + ")" * 200)
@settings(deadline=None)
@example("f(a=" + "(" * 3000 + ")" * 3001)
def test_any_text_is_taken_apart_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_model(text).name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not name a model"),
        (":resnet50", "does not name a model"),
        ("net.py:", "does not name a model"),
        ("net.py", "net.py:Model"),
        ("vgg16(10)", "without a name"),
        ("vgg16(*[1])", "without a name"),
        ("vgg16(**{'a': 1})", "without a name"),
        ("vgg16(a=open('x'))", "not a literal"),
        ("vgg16(a=10**9)", "not a literal"),
        ("vgg16(a=", "opens a parenthesis"),
        ("vgg16(a=1", "opens a parenthesis"),
        ("vgg16(a b)", "not Python"),
        ("vgg16(classes=10)", "num_classes"),
        ("hub:resnet50", "no module called 'hub'"),
        ("torchvison:resnet50", "Did you mean torchvision:?"),
        ("not a module:Net", "no place for a model"),
        ("torchvision:resnet18(num_clases=3)", "Did you mean num_classes=?"),
        ("torchvision:mobilenet_v2(width_mul=2)", "Did you mean width_mult=?"),
        ("torchvision:resnet50(weights='DEFAULT')", "nothing is downloaded"),
        ("torchvision:resnet51", "resnet50"),
        ("vgg61", "vgg16"),
        ("squeezenet", "squeezenet1_0"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(text)
    assert says in str(caught.value)


def test_built_in_names_come_first() -> None:
    target = resolve("vgg16(num_classes=10)")
    assert "torchvision" not in type(target.model).__module__
    assert params(target) == 138_357_544 - 4097 * 990
    assert target.args == (image(3, 224, 224),)
    assert target.owned
    assert all(parameter.is_meta for parameter in target.model.parameters())


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("inception_v3", (image(3, 299, 299),)),
        ("vit_b_16(image_size=384)", (image(3, 384, 384),)),
        ("lraspp_mobilenet_v3_large", (image(3, 520, 520),)),
        ("r3d_18", (image(3, 16, 112, 112),)),
        ("mvit_v2_s", (image(3, 16, 224, 224),)),
        ("raft_small", (image(3, 512, 512), image(3, 512, 512))),
        ("quantized_resnet18", (image(3, 224, 224),)),
        ("fasterrcnn_resnet50_fpn", ([InputSpec((3, 800, 800))] * 2,)),
        ("ssd300_vgg16", ([InputSpec((3, 300, 300))] * 2,)),
    ],
)
def test_torchvision_inputs(name: str, args: tuple[Any, ...]) -> None:
    assert resolve(f"torchvision:{name}", None, PassRequest(batch=2)).args == args
    assert resolve(name, None, PassRequest(batch=2)).args == args


def test_given_inputs_win_over_the_default() -> None:
    assert resolve("vgg16", "3x32x32").args == (image(3, 32, 32),)
    assert resolve("vgg16", torch.zeros(1, 3, 32, 32)).args == (InputSpec((1, 3, 32, 32), "float32"),)
    half = PassRequest(dtype="float16")
    assert resolve("vgg16", torch.zeros(1, 3, 32, 32), half).args == (InputSpec((1, 3, 32, 32)),)
    assert resolve("vgg16", {"x": (1, 2)}).kwargs == {"x": InputSpec((1, 2))}


@pytest.mark.parametrize("options", [{"batch": 0}, {"dtype": "int64"}, {"dtype": "half"}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        resolve("vgg16", None, PassRequest(**options))


def test_the_users_own_module_is_not_touched() -> None:
    model = nn.Linear(3, 4)
    before = dict(model.__dict__)
    target = resolve(model, (2, 3))
    assert target.model is model
    assert not target.owned
    assert target.rebuild is None
    assert model.__dict__ == before
    with pytest.raises(UsageError, match="no default input"):
        resolve(model)


def test_lightning_modules_bring_an_example() -> None:
    model = nn.Linear(3, 4)
    model.example_input_array = torch.zeros(2, 3)  # type: ignore[assignment]
    assert resolve(model).args == (InputSpec((2, 3), "float32"),)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_inputs_that_come_with_a_model_follow_the_dtype(dtype: str) -> None:
    """As those that are given do; whole numbers stay, and so does what names its dtype itself."""
    own = torch.zeros(2, 3)
    model = nn.Linear(3, 4)
    model.example_input_array = own  # type: ignore[assignment]
    asked = PassRequest(dtype=dtype)
    for made in (model, lambda: (nn.Linear(3, 4), own), lambda: (nn.Linear(3, 4), (own,), {})):
        assert resolve(made, request=asked).args == (InputSpec((2, 3)),)
        totals = archprof.profile(made, dtype=dtype, train=True).totals
        assert (totals.macs, totals.backward_macs) == (24, 24)
    named, whole = resolve(lambda: (nn.ReLU(), ("float64[3]", torch.zeros(2, dtype=torch.int64))), request=asked).args
    assert (named, whole.dtype) == (InputSpec((3,), "float64"), torch.int64)
    assert own.dtype is torch.float32


def test_classes_and_factories_are_called() -> None:
    assert resolve(nn.ReLU, "3x4").args == (image(3, 4),)
    assert params(resolve(lambda: nn.Linear(3, 4), (1, 3))) == 16
    with pytest.raises(UsageError, match=r"Linear\(in_features=…, out_features=…\)"):
        resolve(nn.Linear, (1, 3))
    with pytest.raises(UsageError, match="of type int"):
        resolve(3)  # type: ignore[arg-type]


NET = """
import torch
from torch import nn
import widths
class Net(nn.Module):
    def __init__(self, width=widths.WIDTH):
        super().__init__()
        self.linear = nn.Linear(3, width)
    @classmethod
    def small(cls):
        return cls(1)
class Needs(nn.Module):
    def __init__(self, width, depth=1):
        super().__init__()
def with_inputs():
    import late_widths
    return Net(late_widths.WIDTH), torch.zeros(2, 3)
def with_all():
    return Net(), (torch.zeros(2, 3),), {"mask": torch.ones(2, dtype=torch.bool)}
def fails():
    raise ValueError("no such width")
def three():
    return 3
made = Net()
number = 3
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models, which is the current one."""
    files = {
        "net.py": NET,
        "widths.py": "WIDTH = 7",
        "late_widths.py": "WIDTH = 9",
        "broken.py": "import torch\n\nimport not_there",
        "stops.py": "raise SystemExit(3)",
        "relative.py": "from .widths import WIDTH",
        "other/net.py": NET,
        "other/widths.py": "WIDTH = 70",
        "package/__init__.py": "",
        "package/models.py": "from package.layers import Net",
        "package/layers.py": "from torch import nn\nclass Net(nn.ReLU): pass",
        "package/broken.py": "import package.not_there",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_class_in_a_file(nets: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    assert params(resolve("net.py:Net", (1, 3))) == 28
    assert params(resolve("net.py:Net(width=2)", (1, 3))) == 8
    assert params(resolve("net.py:Net.small", (1, 3))) == 4
    assert params(resolve(f"{nets}/net.py:Net", (1, 3))) == 28
    assert params(resolve("other/net.py:Net", (1, 3))) == 280  # its own widths.py, not the one imported before
    assert sys.path == path
    assert {name for name in set(sys.modules) - modules if "width" in name} == set()
    assert not list(nets.glob("__pycache__/net*"))


def test_a_factory_may_bring_its_inputs(nets: Path) -> None:
    target = resolve("net.py:with_inputs")
    assert (params(target), target.args, target.kwargs) == (36, (InputSpec((2, 3), "float32"),), {})
    assert target.rebuild is not None
    assert not target.rebuild().linear.weight.is_meta  # type: ignore[union-attr]
    target = resolve("net.py:with_all")
    assert target.args == (InputSpec((2, 3), "float32"),)
    assert target.kwargs["mask"].tolist() == [True, True]
    assert resolve("net.py:with_all", "3").kwargs == {}


def test_an_instance_in_a_file_is_the_users_own(nets: Path) -> None:
    target = resolve("net.py:made", (1, 3))
    assert not target.owned
    assert not target.model.linear.weight.is_meta  # type: ignore[union-attr]


def test_a_module_of_the_current_folder(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = list(sys.path)
    assert resolve("package.models:Net", "3").args == (image(3),)
    assert sys.path == path
    for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("ne.py:Net", UsageError, "Near it: net.py"),
        ("nowhere/net.py:Net", UsageError, "does not exist"),
        ("net.py:Nett", UnknownName, "Near it: Net."),
        ("net.py:Net.tiny", UnknownName, "small"),
        ("net.py:number", UsageError, "of type int"),
        ("net.py:made(width=2)", UsageError, "takes no arguments"),
        ("net.py:three", UsageError, "returned int"),
        ("net.py:Needs", UsageError, "Try: net.py:Needs(width=…)"),
        ("net.py:Needs(depth=2)", UsageError, "Try: net.py:Needs(depth=2, width=…)"),
        ("net.py:Net(widht=2)", UsageError, "Did you mean width=?"),
        ("net.py:Net(width='a')", ArchprofError, "could not be built: TypeError"),
        ("net.py:fails", ArchprofError, "could not be built: ValueError: no such width"),
        ("net.py:Net", UsageError, "--input 3x224x224"),
        ("broken.py:Net", ArchprofError, "No module named 'not_there' (line 3 of "),
        ("stops.py:Net", ArchprofError, "SystemExit: 3"),
        ("relative.py:Net", ArchprofError, "package.module:Net"),
        ("packag:Net", UsageError, "no module called 'packag'"),
        ("package.nothing:Net", UsageError, "no module called 'package.nothing'"),
        ("package.broken:Net", ArchprofError, "No module named 'package.not_there'"),
        ("package.models:Nets", UnknownName, "Near it: Net."),
    ],
)
def test_what_is_wrong_with_a_file_is_said(nets: Path, text: str, kind: type[ArchprofError], says: str) -> None:
    try:
        with pytest.raises(ArchprofError) as caught:
            resolve(text)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
            del sys.modules[name]
    assert type(caught.value) is kind
    assert says in str(caught.value)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ArchprofError, match="pip install timm"):
        resolve("timm:resnet50")
    with pytest.raises(UnknownName, match="pip install timm"):
        resolve("vit_tiny_patch16_224")


def test_torchvision_that_does_not_match_torch(tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    code = """
        from archprof.sources.resolve import resolve
        from archprof.errors import ArchprofError
        assert resolve("vgg16").owned
        for name in ("torchvision:resnet50", "vgg61"):
            try:
                resolve(name)
            except ArchprofError as error:
                print(error)
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.count("torchvision cannot be imported: RuntimeError: operator torchvision::nms") == 2
    assert "the built-in models work without it" in run.stdout
    assert "vgg16" in run.stdout


def test_timm() -> None:
    pytest.importorskip("timm")
    target = resolve("timm:vit_tiny_patch16_224")
    assert params(target) == 5_717_416
    assert target.args == (image(3, 224, 224),)
    assert resolve("vit_tiny_patch16_224(in_chans=1, img_size=64)").args == (image(1, 64, 64),)
    assert resolve("timm:efficientnet_b3").args == (image(3, 288, 288),)
    with pytest.raises(UnknownName, match="vit_tiny_patch16_224"):
        resolve("timm:vit_tiny_patch_224")
    with pytest.raises(UsageError, match="pretrained"):
        resolve("timm:resnet18(pretrained=True)")
