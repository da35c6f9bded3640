"""`dfqgen eval`: the accuracy it prints is that of the generated C on the given samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dfqgen.commands.advice import judge_evaluation
from dfqgen.commands.evaluate import Evaluation, comparison, evaluate, evaluation_facts, load_decoder
from dfqgen.errors import UserError, VerificationFailed
from dfqgen.frontend import load
from dfqgen.recipe import make_recipe
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.judge import shortfall
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
@pytest.mark.parametrize(
    ("model", "weights"), [("ic01_resnet8", "per-tensor"), ("ic01_resnet8-folded", "per-channel")]
)
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


def on_four_samples() -> Evaluation:
    return evaluate(DIGITS, DIGITS_TEST, make_recipe(meaning=MEANING), limit=4)


def test_outputs_that_are_far_are_told_and_below_a_limit_refused() -> None:
    evaluation = on_four_samples()
    (name,) = evaluation.outputs
    assert judge_evaluation(evaluation, Path(DIGITS_TEST), 15.0) == ()
    wrong = replace(evaluation, outputs={name: -evaluation.outputs[name]})
    (warning,) = judge_evaluation(wrong, Path(DIGITS_TEST), None)
    assert f"output {name!r} is far from the float network's" in warning
    assert "4 samples of" in warning
    with pytest.raises(VerificationFailed, match="--min-sqnr 15"):
        judge_evaluation(wrong, Path(DIGITS_TEST), 15.0)


def test_the_only_output_that_is_a_map_is_judged_as_a_mask() -> None:
    evaluation = on_four_samples()
    (name,) = evaluation.outputs
    scores = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    # Scores scaled and shifted are far in decibels and the same mask.
    masks = replace(evaluation, float_outputs={name: scores}, outputs={name: 9.0 * scores + 5.0})
    (found,) = comparison(masks, "here").outputs
    assert found.sqnr_db < 0.0
    assert shortfall(found) is None
    worse = replace(masks, outputs={name: -scores})
    assert "mean IoU" in str(shortfall(comparison(worse, "here").outputs[0]))
    assert evaluation_facts(masks)["outputs"][0]["mean_iou"] == 1.0
