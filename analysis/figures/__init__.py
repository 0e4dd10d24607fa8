"""Figures: first the numbers, as a value that is tested, then the drawing of that value.

Each module has `NAME_numbers(cells, dataset)`, a pure function to a frozen dataclass;
`draw(numbers, narrow=False)`, which only draws; and one function that does both. A narrow drawing
has the same traces in another layout (panels below each other), so that a page can switch.
"""
