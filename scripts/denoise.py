"""Take driving noise off heart beats by the commands of the older program, which train and judge through the package:

    python scripts/denoise.py train --model WaveUNet --loss-fn CombinedLoss --checkpoint-dir output/checkpoint/WUN [options of `sounddetect train`]
    python scripts/denoise.py eval --model WaveUNet --loss-fn CombinedLoss --weights-path RUN --figure-filename WUN.png
        --clean-audio-filename WUN_clean.wav --noisy-audio-filename WUN_noisy.wav --audio-filename WUN_output.wav

Heart beats at rest are read from data/Stop.mat, driving noise from data/100km.mat: --set data.signal=... and --set data.noise=... name others.
A file .env is read as before; its keys are never printed.
"""
import argparse
import sys
from contextlib import contextmanager
from pathlib import Path

OLDER = {  # what the older program always did; --set says otherwise
    "task": "denoise", "data.signal": "data/Stop.mat", "data.noise": "data/100km.mat", "audio.sample_rate": 1000, "model.input_length": 5120,
    "training.epochs": 100, "training.batch_size": 64, "training.learning_rate": 1e-4, "training.optimizer": "adamw",
}
FILES = ("figure", "noisy-audio", "audio", "clean-audio")     # as an example has them: picture, noisy, cleaned, clean


def parsed(words):
    """Arguments, and words for `sounddetect train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train, judge = commands.add_parser("train", allow_abbrev=False), commands.add_parser("eval", allow_abbrev=False)
    for command in (train, judge):
        command.add_argument("--model", help="of the older program or of today, such as WaveUNet or wave_unet")
        command.add_argument("--loss-fn", help="likewise, such as CombinedLoss or l1")
    train.add_argument("--checkpoint-dir", default="output/checkpoint", help="folder for runs, each in a folder of its own")
    judge.add_argument("--weights-path", type=Path, required=True, help="the run that train named")
    for name in FILES:
        judge.add_argument(f"--{name}-filename", type=Path, help="file to write; nothing is overwritten")
    args, rest = parser.parse_known_args(words)
    if rest and args.command == "eval":
        parser.error(f"eval does not know {rest[0]}")
    return args, rest


def environment():
    """Settings that .env in the current folder stands for."""
    from sounddetect.settings.older import settings_of_environment

    file = Path(".env")
    settings, gone = settings_of_environment(file.read_text(encoding="utf-8")) if file.is_file() else ({}, [])
    if gone:
        print(f".env: without effect here: {', '.join(gone)}; what a run logs lies in its folder, and tracking.tensorboard, tracking.mlflow "
              "and sounddetect setup-clearml name trackers", file=sys.stderr)
    return settings


def chosen(args):
    """The network and the loss that were asked for, as settings."""
    asked = {"model.architecture": args.model, "training.loss_function": args.loss_fn}
    return {key: value for key, value in asked.items() if value is not None}


def train(args, rest):
    """`sounddetect train` with the settings of the older program, those of .env, and what is said here."""
    from sounddetect.cli.cli import main

    settings = OLDER | environment() | {"output.dir": args.checkpoint_dir} | chosen(args)
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={'null' if value is None else value}")]
    main(["train", *words, *rest])


def refuse_others(args, run_config):
    """Raise `ValueError` for a run of another network or loss than was asked for."""
    from sounddetect import Config

    asked = Config.load(None, {"task": "denoise"} | chosen(args))
    for option, value, ours, theirs in (
            ("--model", args.model, asked.model.architecture, run_config.model.architecture),
            ("--loss-fn", args.loss_fn, asked.training.loss_function, run_config.training.loss_function)):
        if value is not None and ours != theirs:
            raise ValueError(f"{args.weights_path} was trained with another setting than {option} {value}: leave {option} out, or give another run")


@contextmanager
def suppress_success():
    """A command ends the program; where it did not fail, go on."""
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise


def judge(args):
    """`sounddetect evaluate`, and the first example in files of the names that were asked for."""
    import sounddetect as sd
    from sounddetect.cli import cli
    from sounddetect.files import write_bytes

    path = args.weights_path
    if path.suffix in (".pth", ".pt"):
        raise ValueError(f"{path} holds weights of the older program, a pickle, which could execute anything and fits no network of today: train "
                         "again by python scripts/denoise.py train, and give --weights-path the run that it names")
    targets = [getattr(args, f"{name.replace('-', '_')}_filename") for name in FILES]
    for target in filter(None, targets):
        if target.exists():
            raise ValueError(f"{target} exists and is not overwritten: give another name, or move it away")
    environment()
    refuse_others(args, sd.Run(path).config)
    with suppress_success():
        cli.main(["evaluate", str(path)])
    folder = path / "evaluation"
    sources = [folder / "example_1.png", *(folder / f"example_1_{name}.wav" for name in ("noisy", "cleaned", "clean"))]
    for source, target in zip(sources, targets):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, source.read_bytes())
            print(target)


def main(words=None):
    args, rest = parsed(words)
    try:
        train(args, rest) if args.command == "train" else judge(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
