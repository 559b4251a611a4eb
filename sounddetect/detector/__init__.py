"""What is deployed: from recordings to answers, as a folder, a stream or ONNX."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
