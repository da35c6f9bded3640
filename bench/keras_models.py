"""Small Keras models, one for each family of layers, as ONNX files; run by a Python that has Keras.

    PYTHON bench/keras_models.py FOLDER [--only NAME[,NAME...]]

PYTHON has tensorflow and tf2onnx (`pip install tensorflow-cpu tf2onnx`), which need not be dfqgen's own:
`bench/exporters.py --keras PYTHON` runs this and compiles what it writes. Weights are random. A model that
tf2onnx does not convert leaves FOLDER/NAME.txt with the reason.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
import tensorflow as tf  # type: ignore[import-not-found, import-untyped, unused-ignore]
import tf2onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]
from keras import layers  # type: ignore[import-not-found, import-untyped, unused-ignore]

OPSET = 17
IMAGE, SERIES, VECTOR = (16, 16, 3), (20, 8), (24,)

Layer = Callable[[Any], Any]


def conv(filters: int = 8, **settings: Any) -> Layer:
    return layers.Conv2D(filters, 3, padding="same", **settings)


def sequential(*parts: Layer) -> Layer:
    def run(x: Any) -> Any:
        for part in parts:
            x = part(x)
        return x

    return run


def residual(x: Any) -> Any:
    y = conv()(x)
    z = layers.BatchNormalization()(conv()(y))
    return layers.ReLU()(layers.Add()([y, z]))


def squeeze_and_excite(x: Any) -> Any:
    y = conv()(x)
    gate = layers.Dense(8, activation="sigmoid")(layers.Dense(4, activation="relu")(pooled(y)))
    return layers.Multiply()([y, layers.Reshape((1, 1, 8))(gate)])


def pooled(x: Any) -> Any:
    return layers.GlobalAveragePooling2D()(x)


def inception(x: Any) -> Any:
    branches = [layers.Conv2D(4, size, padding="same", activation="relu")(x) for size in (1, 3, 5)]
    return layers.Concatenate()([*branches, layers.MaxPooling2D(3, 1, "same")(x)])


def attention(x: Any) -> Any:
    return layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))


def dot_attention(x: Any) -> Any:
    return layers.Attention()([layers.Dense(8)(x), layers.Dense(8)(x)])


def tokens(x: Any) -> Any:
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.Embedding(50, 8)(x)))


FAMILIES: Mapping[str, tuple[tuple[int, ...], Layer]] = {
    "Conv2D": (IMAGE, sequential(conv(activation="relu"), conv(strides=2))),
    "Conv2D, valid, dilated": (IMAGE, sequential(layers.Conv2D(8, 3), layers.Conv2D(8, 3, dilation_rate=2))),
    "Conv2D, groups": (IMAGE, sequential(conv(), conv(groups=4))),
    "DepthwiseConv2D": (
        IMAGE,
        sequential(conv(), layers.DepthwiseConv2D(3, padding="same"), layers.ReLU(6.0)),
    ),
    "SeparableConv2D": (IMAGE, layers.SeparableConv2D(8, 3, padding="same", activation="relu")),
    "Conv2DTranspose": (IMAGE, sequential(conv(), layers.Conv2DTranspose(4, 3, 2, "same"))),
    "Conv1D": (
        SERIES,
        sequential(layers.Conv1D(8, 3, padding="same", activation="relu"), layers.Conv1D(8, 3, 2)),
    ),
    "Conv1D, causal": (SERIES, layers.Conv1D(8, 3, padding="causal", dilation_rate=2)),
    "SeparableConv1D": (SERIES, layers.SeparableConv1D(8, 3, padding="same")),
    "Dense": (VECTOR, sequential(layers.Dense(16, "relu"), layers.Dense(5, "softmax"))),
    "Dense on a sequence": (SERIES, sequential(layers.Dense(16, "tanh"), layers.Dense(4))),
    "BatchNormalization": (
        IMAGE,
        sequential(conv(use_bias=False), layers.BatchNormalization(), layers.ReLU()),
    ),
    "LayerNormalization": (SERIES, sequential(layers.Dense(16), layers.LayerNormalization())),
    "GroupNormalization": (IMAGE, sequential(conv(), layers.GroupNormalization(4))),
    "UnitNormalization": (VECTOR, sequential(layers.Dense(16), layers.UnitNormalization())),
    "Normalization": (VECTOR, sequential(layers.Normalization(mean=0.3, variance=2.0), layers.Dense(4))),
    "Rescaling": (IMAGE, sequential(layers.Rescaling(0.5, -0.1), conv())),
    "MaxPooling2D": (IMAGE, sequential(conv(), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(4))),
    "AveragePooling2D": (IMAGE, sequential(conv(), layers.AveragePooling2D(3, 2, "same"))),
    "MaxPooling1D": (
        SERIES,
        sequential(layers.MaxPooling1D(2), layers.AveragePooling1D(2), layers.Conv1D(4, 2)),
    ),
    "global pooling": (IMAGE, sequential(conv(), pooled, layers.Dense(4))),
    "GlobalMaxPooling2D": (IMAGE, sequential(conv(), layers.GlobalMaxPooling2D(), layers.Dense(4))),
    "ZeroPadding2D, Cropping2D": (
        IMAGE,
        sequential(layers.ZeroPadding2D(2), layers.Conv2D(4, 3), layers.Cropping2D(1)),
    ),
    "UpSampling2D, nearest": (IMAGE, sequential(conv(), layers.UpSampling2D(2), conv())),
    "UpSampling2D, bilinear": (IMAGE, sequential(conv(), layers.UpSampling2D(2, interpolation="bilinear"))),
    "Resizing": (IMAGE, sequential(layers.Resizing(8, 8), conv())),
    "Permute, Reshape": (
        IMAGE,
        sequential(conv(), layers.Permute((2, 1, 3)), layers.Reshape((16, 128)), layers.Dense(4)),
    ),
    "RepeatVector": (VECTOR, sequential(layers.Dense(8), layers.RepeatVector(5), layers.Dense(4))),
    "LeakyReLU, PReLU": (
        IMAGE,
        sequential(conv(), layers.LeakyReLU(0.2), conv(), layers.PReLU(shared_axes=[1, 2])),
    ),
    "ELU, SELU, softplus": (
        VECTOR,
        sequential(layers.Dense(8, "elu"), layers.Dense(8, "selu"), layers.Dense(8, "softplus")),
    ),
    "swish, GELU, hard sigmoid": (
        VECTOR,
        sequential(layers.Dense(8, "swish"), layers.Dense(8, "gelu"), layers.Dense(8, "hard_sigmoid")),
    ),
    "Dropout, GaussianNoise": (
        VECTOR,
        sequential(layers.Dense(8), layers.Dropout(0.3), layers.GaussianNoise(0.1), layers.Dense(3)),
    ),
    "Add, ResNet block": (IMAGE, residual),
    "Multiply, SE block": (IMAGE, squeeze_and_excite),
    "Concatenate, Inception": (IMAGE, inception),
    "Maximum, Subtract": (
        VECTOR,
        lambda x: layers.Subtract()(
            [layers.Maximum()([layers.Dense(8)(x), layers.Dense(8)(x)]), layers.Dense(8)(x)]
        ),
    ),
    "LSTM": (SERIES, layers.LSTM(12)),
    "LSTM, sequences": (SERIES, sequential(layers.LSTM(12, return_sequences=True), layers.Dense(4))),
    "LSTM, unrolled": (SERIES, layers.LSTM(6, unroll=True)),
    "GRU": (SERIES, sequential(layers.GRU(12), layers.Dense(4))),
    "GRU, reset before": (SERIES, layers.GRU(12, reset_after=False)),
    "GRU, unrolled": (SERIES, layers.GRU(6, unroll=True)),
    "SimpleRNN": (SERIES, layers.SimpleRNN(12, return_sequences=True)),
    "Bidirectional": (SERIES, layers.Bidirectional(layers.LSTM(8, return_sequences=True))),
    "TimeDistributed": (SERIES, layers.TimeDistributed(layers.Dense(4, "relu"))),
    "ConvLSTM1D": ((6, 10, 4), layers.ConvLSTM1D(4, 3, padding="same")),
    "MultiHeadAttention": (SERIES, sequential(layers.Dense(8), attention)),
    "Attention": (SERIES, dot_attention),
    "Embedding": ((12,), tokens),
    "Softmax over an axis": (SERIES, sequential(layers.Dense(6), layers.Softmax(axis=1))),
}
"""By name the shape of a sample, and what is made of it."""


def export(name: str, path: Path) -> None:
    """The model with an input of one sample."""
    keras.utils.set_random_seed(0)
    shape, make = FAMILIES[name]
    given = keras.Input(shape)
    model = keras.Model(given, make(given))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            weights = layer.get_weights()
            layer.set_weights([np.abs(w + 0.3 * np.random.normal(size=w.shape)) for w in weights])
    function = tf.function(lambda x: model(x, training=False))
    signature = [tf.TensorSpec((1, *shape), tf.float32, name="x")]
    tf2onnx.convert.from_function(function, signature, opset=OPSET, output_path=str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    names = [name for name in arguments.only.split(";") if name] or list(FAMILIES)
    for name in names:
        path = arguments.folder / f"{name}.onnx"
        try:
            export(name, path)
        except Exception as error:  # whatever Keras or tf2onnx raise is the finding
            path.with_suffix(".txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
