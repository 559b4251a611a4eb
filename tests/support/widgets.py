"""What a click does, done as a test needs it."""

from ipywidgets.widgets.widget import CallbackDispatcher


def raise_from_clicks():
    """Let an error of a button reach the one who clicked; ipywidgets prints it, and a test would go on as if nothing had been clicked."""

    def call(self, *args, **kwargs):
        for callback in self.callbacks:
            callback(*args, **kwargs)

    CallbackDispatcher.__call__ = call
