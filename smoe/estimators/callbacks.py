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


__all__ = ["Watched"]


class Watched(CallbackSupportMixin):
    """Lets callbacks watch what an estimator does, where scikit-learn has callbacks."""

    _watcher = None

    @with_callbacks
    def _while_watched(self, fit, X, y, sample_weight):
        """Return what ``fit(X, y, sample_weight)`` does, which finds the watcher in ``self._watcher``."""
        if not hasattr(self, "set_callbacks"):
            return fit(X, y, sample_weight)
        context = self._init_callback_context(max_subtasks=None)
        seen = {"estimator": self, "X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        context.call_on_fit_task_begin(**seen)
        self._watcher = _Watcher(self, context, bool(vars(self).get("_skl_callbacks")))
        try:
            found = fit(X, y, sample_weight)
        finally:
            del self._watcher
        context.call_on_fit_task_end(**seen, reconstruction_attributes={})
        return found


class _Watcher:
    """Tells callbacks where a search is, and asks them whether it is to go on (see `smoe.search.Unwatched`)."""

    def __init__(self, estimator, context, waits):
        self._estimator, self._context, self.waits, self.stopped = estimator, context, waits, False

    @contextmanager
    def stage(self, name, n):
        """Announce a stage of ``n`` pieces, of which each is to be reported by calling what is yielded."""
        stage = self._context.subcontext(name, max_subtasks=n).call_on_fit_task_begin(estimator=self._estimator)

        def done():
            piece = stage.subcontext(name).call_on_fit_task_begin(estimator=self._estimator)
            self.stopped |= piece.call_on_fit_task_end(estimator=self._estimator)

        yield done
        self.stopped |= stage.call_on_fit_task_end(estimator=self._estimator)
