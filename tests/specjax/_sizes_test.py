from specjax import _sizes as sizes


def test_sizes_are_few_and_close_above():
    counts = range(1, 5000)
    lengths = [sizes.padded_tokens(count) for count in counts]
    assert all(size >= count for size, count in zip(lengths, counts, strict=True))
    assert lengths == sorted(lengths) and len(set(lengths)) < 30
    assert all(lengths[n - 1] < 1.0625 * n for n in counts if n > 2048)
    assert sizes.instance_capacities(60) == (60,)
    assert sizes.instance_capacities(768) == (384, 768)
    assert sizes.instance_capacities(3840) == (1440, 1920, 3840)
