# A result that never ends.
# checked: memory_limit | cpu_limit | result_not_json
# bypassed: memory_limit | cpu_limit | result_not_json
# limits: memory=16 cpu=2000
class Endless(dict):
    def items(self):
        while True:
            yield 'a', 1
result = Endless(a=1)
