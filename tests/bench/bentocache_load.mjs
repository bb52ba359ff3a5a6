// Gets of 100-byte values through bentocache, for cache_wire_bench.sh: from its memory, or from Redis.
//
//   node bentocache_load.mjs memory|redis PORT SECONDS      bentocache and ioredis are in ./node_modules
//
// 256 gets are under way at once. Prints the gets a second, and those that found nothing.
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisDriver } from 'bentocache/drivers/redis'

const [layer, port, seconds] = process.argv.slice(2)
const store = bentostore()
const used =
  layer === 'memory'
    ? store.useL1Layer(memoryDriver({ maxItems: 100000 }))
    : store.useL2Layer(redisDriver({ connection: { host: '127.0.0.1', port: Number(port), enableAutoPipelining: true } }))
const cache = new BentoCache({ default: 'it', stores: { it: used } })
const keys = Array.from({ length: 1000 }, (_, i) => `user/${i}/views`)

for (const key of keys) await cache.set({ key, value: 'x'.repeat(100), ttl: '1h' })
let gets = 0
let missed = 0
const begin = performance.now()
const end = begin + seconds * 1000
await Promise.all(
  Array.from({ length: 256 }, async (_, i) => {
    for (let n = i; performance.now() < end; n += 256) {
      if ((await cache.get({ key: keys[n % keys.length] })) === undefined) missed++
      gets++
      // What is answered from memory never lets the others run by itself.
      if (gets % 1024 === 0) await new Promise(setImmediate)
    }
  }),
)
console.log(Math.round((gets * 1000) / (performance.now() - begin)), missed)
await cache.disconnectAll()
