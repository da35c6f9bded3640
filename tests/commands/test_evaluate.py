"""`dfqgen eval`: the accuracy it prints is that of the generated C on the given samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dfqgen.commands.evaluate import evaluate, evaluation_facts, load_decoder
from dfqgen.errors import UserError
from dfqgen.frontend import load
from dfqgen.recipe import make_recipe
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import InputMeaning
from tests.models import DIGITS, DIGITS_INPUT, DIGITS_TEST
from tests.test_cli import command

MEANING = InputMeaning(std=(16.0,), lo=0.0, hi=16.0)


def test_eval_prints_the_accuracy_of_the_generated_c() -> None:
    result = command("eval", DIGITS, "--data", DIGITS_TEST, *DIGITS_INPUT, "--limit", 200, "--json")
    output = json.loads(result.stdout)["outputs"][0]
    assert output["float_top1"] > 0.97
    assert abs(output["top1"] - output["float_top1"]) <= 0.01
    # The same figure from the interpreter, by hand.
    evaluation = evaluate(DIGITS, DIGITS_TEST, make_recipe(meaning=MEANING), limit=200)
    program, graph = evaluation.compiled.program, evaluation.compiled.network.graph
    archive = np.load(DIGITS_TEST)
    x = MEANING.normalize(archive["x"][:200]).reshape(200, *graph.inputs[0].shape[1:])
    tensor = program.inputs[0].tensor
    found = program.run({tensor: program.tensors[tensor].qtype.quantize(x)})
    scores = next(iter(found.values())).reshape(200, -1)
    assert output["top1"] == pytest.approx(np.mean(scores.argmax(axis=1) == archive["y"][:200]))


def test_calibration_data_takes_the_place_of_statistics() -> None:
    archive = np.load(DIGITS_TEST)
    tensor = load(DIGITS).inputs[0]
    samples = Samples({tensor.tensor: archive["x"][:64].reshape(64, *tensor.shape[1:])})
    recipe = make_recipe(meaning=MEANING, calibration_data=samples)
    evaluation = evaluate(DIGITS, DIGITS_TEST, recipe, limit=100)
    assert "measured on 64 samples" in str(evaluation.compiled.quantized.notes)
    assert evaluation_facts(evaluation)["outputs"][0]["top1"] > 0.95


def test_a_decoder_without_decode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    with pytest.raises(UserError, match="defines no function decode"):
        load_decoder(path)
    with pytest.raises(UserError, match=r"absent\.py"):
        load_decoder(tmp_path / "absent.py")


@pytest.mark.shared_models
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("model", ["ic01_resnet8", "ic01_resnet8-folded"])
def test_resnet8_keeps_its_accuracy_without_data(shared_models: Path, model: str, weights: str) -> None:
    recipe = make_recipe(meaning=InputMeaning(), weights=weights)  # type: ignore[arg-type]
    data = shared_models.parent / "data" / "cifar10.npz"
    evaluation = evaluate(shared_models / f"{model}.onnx", data, recipe, limit=500)
    output = evaluation_facts(evaluation)["outputs"][0]
    assert output["top1"] >= output["float_top1"] - 0.015
    assert output["top1_agreement"] >= 0.93


@pytest.mark.shared_models
def test_mobilenet_keeps_its_accuracy_without_data(shared_models: Path) -> None:
    recipe = make_recipe(meaning=InputMeaning((127.5,), (127.5,)), weights="per-tensor")
    data = shared_models.parent / "data" / "imagenet.npz"
    model = shared_models / "mobilenetv1_075_224-folded.onnx"
    output = evaluation_facts(evaluate(model, data, recipe, limit=60))["outputs"][0]
    assert output["top1_agreement"] >= 0.92
