"""Run many commands, each in a process of its own, but import the package once: that takes most of the time.

Reads `[[folder, [argument, ...]], ...]` from stdin, writes `[[exit code, stdout, stderr], ...]` to stdout.
"""

import json
import os
import sys
import tempfile
import traceback


def run(folder, arguments):
    """Fork, and let the copy be the command."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            code = 70
            try:
                os.chdir(folder)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                from sounddetect.cli.cli import main

                main(arguments)
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
                code = 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8"))
        return [os.waitstatus_to_exitcode(status), *texts]


if __name__ == "__main__":
    import sounddetect.jobs.training_runs  # noqa: F401, imported here so that the copies have it

    print(json.dumps([run(folder, arguments) for folder, arguments in json.load(sys.stdin)]))
