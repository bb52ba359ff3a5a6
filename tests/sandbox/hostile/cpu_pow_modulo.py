# A power modulo a huge number.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
pow(3, 1 << 200000, (1 << 200000) + 1)
