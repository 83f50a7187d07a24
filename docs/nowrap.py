"""A Sphinx extension: formulas in the text are not torn from the brackets and commas that belong to them."""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform


class KeepTogether(SphinxPostTransform):
    """Wrap a formula, the brackets before it and the punctuation after it into a span of class "nowrap"."""

    default_priority = 700

    def run(self, **kwargs):
        """Visit every formula of the page."""
        for math in list(self.document.findall(nodes.math)):
            parent, at = math.parent, math.parent.index(math)
            before = _text(parent, at - 1, r"[(\[\"“]+$") if at else ""
            after = _text(parent, at + 1, r"^[-–]?[\w]*[)\],.;:!?\"”]+") if at + 1 < len(parent) else ""
            if not (before or after):
                continue
            span = nodes.inline("", classes=["nowrap"])
            parts = [nodes.Text(before)] * bool(before) + [math.deepcopy()] + [nodes.Text(after)] * bool(after)
            span.extend(parts)
            if before:
                parent[at - 1] = nodes.Text(parent[at - 1].astext()[: -len(before)])
            if after:
                parent[at + 1] = nodes.Text(parent[at + 1].astext()[len(after) :])
            parent[at] = span


def _text(parent, at, pattern):
    """Return what matches in the text there, or nothing."""
    found = isinstance(parent[at], nodes.Text) and re.search(pattern, parent[at].astext())
    return found[0] if found else ""


def setup(app):
    """Called by Sphinx."""
    app.add_post_transform(KeepTogether)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
