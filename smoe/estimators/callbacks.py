"""Callbacks of scikit-learn, which has them from 1.9 on: those of an estimator watch its search, and may end it.

The task "fit" has a subtask for every stage of the search ("screen", "finish", "swap"), and each of these has one for
every piece of it: a start that is looked at or taken to its end, a swap of experts.
"""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:
        """Nothing, as no callbacks are known."""

    def with_callbacks(method):
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "watched"]


@with_callbacks
def watched(estimator, X, y, sample_weight):
    """Return what the estimator's ``_fit`` does, while its callbacks watch."""
    if not hasattr(estimator, "_init_callback_context"):
        return estimator._fit(X, y, sample_weight)
    context = estimator._init_callback_context(max_subtasks=None)
    seen = {"estimator": estimator, "X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
    context.call_on_fit_task_begin(**seen)
    estimator._watcher = _Watcher(estimator, context)
    try:
        found = estimator._fit(X, y, sample_weight)
    finally:
        del estimator._watcher
    context.call_on_fit_task_end(**seen, reconstruction_attributes={})
    return found


class _Watcher:
    """Tells the callbacks where a search is, and asks them whether it is to go on (see `smoe.search.Unwatched`)."""

    def __init__(self, estimator, context):
        self._estimator, self._context, self.stopped = estimator, context, False

    @property
    def waits(self):
        """Whether anybody watches."""
        return bool(getattr(self._estimator, "_skl_callbacks", None))

    @contextmanager
    def stage(self, name, n):
        """Announce a stage of ``n`` pieces, of which each is to be reported by calling what is yielded."""
        stage = self._context.subcontext(name, max_subtasks=n).call_on_fit_task_begin(estimator=self._estimator)

        def done():
            piece = stage.subcontext(name).call_on_fit_task_begin(estimator=self._estimator)
            self.stopped |= piece.call_on_fit_task_end(estimator=self._estimator)

        yield done
        self.stopped |= stage.call_on_fit_task_end(estimator=self._estimator)
