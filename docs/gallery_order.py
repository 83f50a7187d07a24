"""The order of the gallery: by question, and within each part from the simple to the special."""

PARTS = [f"../examples/{part}" for part in ("first", "panels", "trust", "predict", "size", "gates", "rates")]
STORY = [
    *("engel", "faithful", "mcycle", "counts", "zeros", "survival", "panel", "classes", "two_responses"),
    *("wages", "visits", "fishing"),
    *("diagnostics", "ethanol", "over_specification"),
    "prediction",
    *("choosing_k", "grid_search", "many_features", "rows_on_disk"),
    *("gate_regions", "top_k", "temperature", "temperature_ray", "tree", "curved_gates", "routing_gates", "joint_gate"),
    "rate_study",
]


class StoryOrder:
    """Sorts files by their place in the story; others come last, by name."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        """Return what to sort by."""
        name = filename.removeprefix("plot_").removesuffix(".py")
        return (STORY.index(name) if name in STORY else len(STORY), name)
