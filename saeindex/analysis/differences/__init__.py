"""What a comparison tells beside its tests: findings, confirmation, hints, power, hypotheses."""
