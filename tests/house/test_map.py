"""Worked examples of ARCHITECTURE.md: what it says one has to touch is enough."""

import pytest
import torch
from torch import nn

import sounddetect as sd
from sounddetect import parts


@pytest.fixture
def own_parts():
    """Parts that a test registers are gone after it."""
    before = dict(parts._parts)
    yield
    parts._parts.clear()
    parts._parts.update(before)


class Energy(nn.Module):
    """Energy of 8 stretches of a window: `(batch, channel, 8)`."""

    def forward(self, windows, lengths=None):
        return windows.unfold(-1, windows.shape[-1] // 8, windows.shape[-1] // 8).square().mean(-1)


def test_a_feature_is_one_call(own_parts):
    sd.register_feature("energy", None, lambda settings, inputs: Energy())
    feature = parts.find("feature", "energy").build(None, None)
    assert feature(torch.ones(2, 3, 80)).shape == (2, 3, 8)
    sd.register_network("mine", None, lambda settings, inputs, n_outputs: nn.Linear(8, n_outputs))
    config = sd.Config.load(None, {"features.kind": "energy", "model.architecture": "mine"})
    assert config.features.kind == "energy"


def test_a_network_is_one_call(own_parts):
    sd.register_network("mine", None, lambda settings, inputs, n_outputs: nn.Linear(8, n_outputs), tasks=["classify"])
    part = parts.find("network", "mine")
    assert part.serves("classify") and not part.serves("anomaly")
    assert part.build(None, None, 2)(torch.ones(4, 8)).shape == (4, 2)
    with pytest.raises(ValueError, match="built in"):
        sd.register_network("1d_cnn_attention", None, lambda *given: None)


def test_a_command_is_one_function():
    from typer.testing import CliRunner

    from sounddetect.cli.commands import app

    known = list(app.registered_commands)
    try:

        @app.command()
        def hello():
            print("hello")

        done = CliRunner().invoke(app, ["hello"])
        assert done.exit_code == 0 and done.stdout.strip() == "hello"
    finally:
        app.registered_commands[:] = known


def test_a_panel_is_one_class():
    from sounddetect.workbench.panels import Bench, Panel

    class HelloPanel(Panel):
        name, step = "data", 9  # texts of another panel, for the test

        def code(self):
            return "print('hello')"

    panel = HelloPanel(Bench("en"))
    panel._code_button.value = True
    assert "hello" in panel._code.value


