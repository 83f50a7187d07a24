"""How functions that only kernels call are compiled: as far as their callers need it, and no further.

numba makes machine code of every function, with what it calls within it, so that what lies deep is optimised again and
again. An inner function stops before that: the kernel that calls it takes it in whole, and all is optimised once.
"""

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import NativeLowering

__all__ = ["InnerCompiler"]


class _Ingredient(JITCodeLibrary):
    """The code of a function and of those that it calls, neither optimised nor made machine code."""

    def finalize(self):
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


@register_pass(mutates_CFG=False, analysis_only=False)
class _Offer(LoweringPass):
    """Let other compiled functions find this one, which numba does for machine code alone."""

    _name = "offer_to_callers"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        # What the function is known by must be a builtin; this one raises a TypeError for whatever a kernel is given.
        key = object().__format__
        state.targetctx.insert_user_function(key, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=key)
        return True


class InnerCompiler(CompilerBase):
    """numba's compiler without its last step."""

    def define_pipelines(self):
        """Return numba's own passes and one more, set up for code that is called by compiled code alone."""
        state = self.state
        state.library = _Ingredient(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = True
        passes = DefaultPassBuilder.define_nopython_pipeline(state)
        passes.add_pass_after(_Offer, NativeLowering)
        passes.finalize()
        return [passes]
