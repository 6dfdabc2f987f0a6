"""A network as an ONNX file, for computers on which torch cannot be installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..volume_io import atomic_path, write_text
from .card import ModelCard
from .checksum import sha256
from .folding import FoldedNetwork
from .layout import DECODER, ENCODER, LEVELS
from .network import Network

#: First operator set whose operators are all the ones used here.
OPERATOR_SET = 13


def export_onnx(network: Network, folder: str | Path) -> ModelCard:
    """Write ``<role>.onnx`` and its card into a folder; axes of the volume stay free.

    Only for networks that may be passed on: the licence of the published checkpoints forbids to distribute them in
    any form, so that a file made from them is for the user's own computer.

    Returns
    -------
    The card as written, its SHA-256 that of the ONNX file.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError("Exporting needs the Python package onnx.", "pip install onnx") from error
    folder = Path(folder)
    if any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} holds a bundle already.", "Choose a folder of its own for the ONNX files.")
    model = _model(network.weights)
    onnx.checker.check_model(model)
    with atomic_path(folder / f"{network.card.role}.onnx") as temporary:
        onnx.save(model, str(temporary))
        card = replace(network.card, sha256=sha256(temporary))
    write_text(folder / f"{network.card.role}.card.json", card.to_json())
    return card


def _model(network: FoldedNetwork):
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def layer(kind: str, name: str, source: str, relu: bool = False, **attributes) -> str:
        for part, tensor in zip(("weight", "bias"), network.layers[name]):
            constants.append(numpy_helper.from_array(tensor.numpy(), f"{name}.{part}"))
        nodes.append(helper.make_node(kind, [source, f"{name}.weight", f"{name}.bias"], [name], name, **attributes))
        if not relu:
            return name
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
        return f"{name}.relu"

    def convolution(name: str, source: str) -> str:
        return layer("Conv", name, source, relu=True, kernel_shape=[3] * 3, pads=[1] * 6)

    x, skips = "x", []
    for level, pair in enumerate(ENCODER):
        if level:
            nodes.append(helper.make_node("MaxPool", [x], [f"pool{level}"], kernel_shape=[2] * 3, strides=[2] * 3))
            x = f"pool{level}"
        for name in pair:
            x = convolution(name, x)
        skips.append(x)
    for level in reversed(range(LEVELS - 1)):
        up, first, second = DECODER[level]
        x = layer("ConvTranspose", up, x, kernel_shape=[2] * 3, strides=[2] * 3)
        nodes.append(helper.make_node("Concat", [x, skips[level]], [f"joined{level}"], axis=1))
        x = convolution(second, convolution(first, f"joined{level}"))
    output = layer("Conv", "out", x, kernel_shape=[1] * 3)
    graph = helper.make_graph(
        nodes,
        "unet3d",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, network.in_channels, "a", "b", "c"])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, network.out_channels, "a", "b", "c"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPERATOR_SET)])
    model.ir_version = 8  # of onnxruntime 1.12 and later
    return model
