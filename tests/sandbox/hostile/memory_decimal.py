# A decimal with more digits than there is memory.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16 cpu=200
import decimal
decimal.getcontext().prec = decimal.MAX_PREC
result = str(decimal.Decimal(1) / 3)
