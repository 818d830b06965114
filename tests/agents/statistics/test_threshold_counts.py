import numpy as np

from agents.statistics.intervals import counts_by_threshold


def test_counts_at_or_above_each_score_in_a_plain_loop():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 6, 30) / 5  # equal ones
    positive = generator.random(30) < 0.4
    counts = generator.integers(0, 3, (4, 30)).astype(np.float32)
    above, hits = counts_by_threshold(positive, scores, counts)
    for column, threshold in enumerate(sorted(set(scores), reverse=True)):
        for row in range(4):
            chosen = [i for i in range(30) if scores[i] >= threshold]
            assert above[row, column] == sum(counts[row, i] for i in chosen)
            assert hits[row, column] == sum(counts[row, i] for i in chosen if positive[i])
    assert above.shape == hits.shape == (4, len(set(scores)))
