"""Trees of weights: files of shapes, checkpoints, built-in models, and what is none of these."""

import json
import struct
import zipfile

import numpy as np
import pytest

from optc.compiler.budget import shapes, trees
from optc.compiler.budget.models import MODELS, model
from optc.compiler.budget.tensors import Tensor, TreeError


def no_folder(path):
    raise TreeError(f"{path} is a folder")


def find(text):
    return trees.find(str(text), no_folder)


PUBLISHED = {
    "gpt2-124m": 124_439_808,
    "gpt2-355m": 354_823_168,
    "gpt2-774m": 774_030_080,
    "gpt2-1558m": 1_557_611_200,
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "bert-base": 109_482_240,
    "vit-b-16": 86_567_656,
    "resnet-50": 25_557_032,
    "mlp": 669_706,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_built_in_model_has_as_many_weights_as_was_published(name):
    assert sum(tensor.size for tensor in model(name).tensors) == PUBLISHED[name]


def test_every_built_in_model_is_held_against_something():
    assert set(MODELS) - set(PUBLISHED) == {"digits", "text"}  # in tests/specs/test_budgets.py


def test_shapes_are_nested_or_flat_and_say_their_dtypes():
    nested = """
    {"layers": [{"kernel": [2, 3], "bias": []}, {"kernel": {"shape": [2], "dtype": "bf16"}}],
     "shape": [7], "nothing": null, "count": {"shape": [], "dtype": "int32"}}
    """
    tree = shapes.read("x.json", nested)
    assert tree.tensors == (
        Tensor("layers/0/kernel", (2, 3)),
        Tensor("layers/0/bias", ()),
        Tensor("layers/1/kernel", (2,), "bfloat16"),
        Tensor("shape", (7,)),
    )
    assert tree.left_out == ("count",)
    flat = json.dumps({t.path: {"shape": t.shape, "dtype": t.dtype} for t in tree.tensors})
    assert shapes.read("x.json", flat).tensors == tree.tensors
    assert shapes.read("x.json", "[4]").tensors == (Tensor("", (4,)),)


def test_one_dtype_for_all():
    tree = shapes.read("x.json", '{"a": [2], "b": {"shape": [3], "dtype": "f16"}}')
    assert {t.dtype for t in tree.cast("bf16").tensors} == {"bfloat16"}
    with pytest.raises(TreeError, match="`bf17` is no dtype; did you mean `bf16`"):
        tree.cast("bf17")
    with pytest.raises(TreeError, match="`int8` is no dtype of weights"):
        tree.cast("int8")


GARBAGE = {
    "": "x.json is not JSON: Expecting value at line 1, column 1",
    "[2, 3": "x.json is not JSON: Expecting ',' delimiter at line 1, column 6",
    "{}": "x.json holds no tensor of floats",
    "null": "x.json holds no tensor of floats",
    "3": "x.json: the whole is 3, not a shape such as [2, 3]",
    '{"a": "float32[2]"}': 'x.json: `a` is "float32[2]", not a shape such as [2, 3]',
    '{"a": [2, -3]}': "x.json: the shape of `a` has -3, which is below 0",
    '{"a": {"b": [2.5]}}': "x.json: the shape of `a/b` has 2.5, no whole number",
    '{"a": [true]}': "x.json: the shape of `a` has true, no whole number",
    '{"a": [NaN]}': "x.json: the shape of `a` has NaN, no whole number",
    '{"a": {"shape": 3}}': "x.json: the shape of `a` is 3, not a list",
    '{"a": {"shape": [3], "dtype": "f33"}}': "x.json: the dtype of `a`: `f33` is no dtype",
    '{"a": {"shape": [3], "dtype": 7}}': "x.json: the dtype of `a` is 7, not a name",
    '{"a": {"shape": [3], "dtipe": "f32"}}': 'x.json: `a/dtipe` is "f32", not a shape',
    '{"a": [2], "a": [3]}': "x.json: the key `a` stands twice in one object",
    '{"a/b": [2], "a": {"b": [3]}}': "x.json has two tensors `a/b`",
    '{"a": [9000000000000, 9000000000000]}': "x.json: `a` has 9.2e+18 elements or more",
    '{"a": [' + "9" * 400 + "]}": "x.json: `a` has 9.2e+18 elements or more",
    '{"a\\u001b[31m": [2]}': r"x.json has a path that cannot be printed: 'a\x1b[31m'",
    '{"\\ud800": [2]}': r"x.json has a path that cannot be printed: '\ud800'",
    "[" * 1_000_000: "x.json is nested too deeply",
    '{"a":' * 5_000 + "[1]" + "}" * 5_000: "x.json is nested too deeply",
    '{"a": [' + "9" * 5_000 + "]}": "x.json is not JSON: Exceeds the limit",
}


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_told_what_it_is(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(TreeError) as error:
        find("x.json")
    assert str(error.value).startswith(GARBAGE[text])


def safetensors(path, header, data=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


ENTRY = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}


def test_a_safetensors_file_is_read_to_the_end_of_its_header(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "model.layers.0.weight": ENTRY,
        "position_ids": {"dtype": "I64", "shape": [4], "data_offsets": [12, 44]},
    }
    tree = find(safetensors(tmp_path / "m.safetensors", header))
    assert tree.tensors == (Tensor("model/layers/0/weight", (2, 3), "bfloat16"),)
    assert tree.left_out == ("position_ids",)


def test_a_folder_of_safetensors_files_is_one_model(tmp_path):
    safetensors(tmp_path / "m-1.safetensors", {"a": ENTRY})
    safetensors(tmp_path / "m-2.safetensors", {"b": ENTRY})
    assert [tensor.path for tensor in find(tmp_path).tensors] == ["a", "b"]
    safetensors(tmp_path / "m-3.safetensors", {"a": ENTRY})
    with pytest.raises(TreeError, match="has two tensors `a`"):
        find(tmp_path)


def test_an_npz_file_is_read_by_its_headers(tmp_path):
    path = tmp_path / "m.npz"
    arrays = {"a/kernel": np.ones((2, 3), np.float16), "b": np.zeros(()), "n": np.arange(3)}
    np.savez_compressed(path, **arrays, half=np.zeros(5, "V2"))
    tree = find(path)
    assert tree.tensors == (
        Tensor("a/kernel", (2, 3), "float16"),
        Tensor("b", (), "float64"),
        Tensor("half", (5,), "bfloat16"),
    )
    assert tree.left_out == ("n",)


def test_what_is_no_number_in_an_npz_file_is_left_out(tmp_path):
    path = tmp_path / "m.npz"
    record = np.zeros(2, [("x", "f4")])
    np.savez(path, w=np.zeros(2), text=np.array("a"), date=np.zeros(1, "M8[s]"), record=record)
    tree = find(path)
    assert tree.tensors == (Tensor("w", (2,), "float64"),)
    assert tree.left_out == ("text", "date", "record")


def test_a_name_that_stands_twice_in_a_header_is_refused(tmp_path):
    entry = json.dumps(ENTRY).encode()
    path = safetensors(tmp_path / "m.safetensors", b'{"a": ' + entry + b', "a": ' + entry + b"}")
    with pytest.raises(TreeError, match="the key `a` stands twice"):
        find(path)


@pytest.mark.parametrize("header", [b"\x00", b"[1]", b"{", b'{"a": 1}', b'{"a": {"shape": [1]}}'])
def test_a_broken_safetensors_header_is_refused(header, tmp_path):
    with pytest.raises(TreeError, match="not that of a safetensors file"):
        find(safetensors(tmp_path / "m.safetensors", header))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.safetensors", b"", "does not begin with its header"),
        ("m.safetensors", b"\xff" * 100, "does not begin with its header"),
        ("m.safetensors", struct.pack("<Q", 99) + b"{}", "not that of a safetensors file"),
        ("m.npz", b"PK\x03\x04nonsense", "is no npz file"),
        ("m.npz", b"", "is no npz file"),
        ("m.json", b"\xff\xfe", "cannot read"),
        ("m.bin", b"", "is no .json of shapes, no .safetensors or .npz"),
    ],
)
def test_a_broken_file_is_refused(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TreeError, match=message):
        find(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00\x02\x00{}",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\x09\x00__import_",
    ],
)
def test_a_broken_array_in_an_npz_file_is_refused(content, tmp_path):
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(TreeError, match=r"`a.npy` in .* is no array of NumPy"):
        find(path)


def test_a_dtype_of_a_safetensors_file_that_is_unknown_is_named(tmp_path):
    header = {"a": {**ENTRY, "dtype": "F7"}}
    with pytest.raises(TreeError, match="`a`: `F7` is no dtype"):
        find(safetensors(tmp_path / "m.safetensors", header))


@pytest.mark.parametrize("text", ["gpt2-124", "no/such.json", "no.npz", "", "\0.json"])
def test_what_is_not_there_is_refused(text):
    with pytest.raises(TreeError, match=r"did you mean|cannot read|is no \.json"):
        find(text)
