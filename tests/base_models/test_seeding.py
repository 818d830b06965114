from base_models.data.loader import derive_seed


def test_seeds_are_functions_of_their_parts() -> None:
    keys = [(seed, name, epoch) for seed in range(3) for name in ("a", "b") for epoch in range(50)]
    seeds = [derive_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert derive_seed(1) != derive_seed("1")


def test_seeds_are_the_same_in_every_process() -> None:
    assert derive_seed(3, "member", 7) == 7_408_917_478_132_008_850  # unlike `hash`, which is salted
