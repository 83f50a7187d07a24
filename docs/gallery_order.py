"""The order of the gallery: data first, then gates, then what fits and studies show."""

STORY = [
    *("engel", "faithful", "mcycle", "ethanol", "diagnostics"),
    *("prediction", "gate_regions", "top_k", "temperature", "temperature_ray"),
    *("over_specification", "choosing_k", "grid_search", "rate_study"),
]


class StoryOrder:
    """Sorts files by their place in the story; others come last, by name."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        """Return what to sort by."""
        name = filename.removeprefix("plot_").removesuffix(".py")
        return (STORY.index(name) if name in STORY else len(STORY), name)
