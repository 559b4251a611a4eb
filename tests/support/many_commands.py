"""Commands, each in a process of its own that begins with the package imported: importing takes most of the time of a short command.

A line `[folder, [argument, ...], {variable: value}]` on stdin asks for a command, a line `[exit code, stdout, stderr]` on stdout answers.
"""

import json
import os
import sys
import tempfile

import kills
import pictures


def begun(folder, arguments, variables, *files):
    """Fork; the copy becomes the command, with `files` for its output and nothing to read."""
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        sys.argv = ["sounddetect", *arguments]
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - the command's, to its end
        for number, file in enumerate([sys.stdin, *files]):
            os.dup2(file.fileno(), number)
    return child


def outcome(child, *files):
    """Exit code of the command, and what it printed."""
    _, status = os.waitpid(child, 0)
    for file in files:
        file.seek(0)
    return [os.waitstatus_to_exitcode(status), *(file.read().decode("utf-8") for file in files)]


def serve():
    """Answer until nobody asks any more; in a copy, return at once."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = begun(*json.loads(line), out, err)
            if not child:
                if pictures.VARIABLE in os.environ:
                    pictures.draw_nothing()
                return kills.arm_if_told()
            print(json.dumps(outcome(child, out, err)), flush=True)
    sys.exit()


if __name__ == "__main__":
    # Imported here so that the copies have them: PyTorch's compiler comes with the first optimizer.
    import torch._dynamo  # noqa: F401

    import sounddetect.evaluation.evaluation
    import sounddetect.jobs.training_runs  # noqa: F401
    from sounddetect.cli.cli import main

    serve()
    main()
