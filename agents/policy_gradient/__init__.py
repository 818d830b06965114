"""The project's own policy-gradient agents, and the published one."""
