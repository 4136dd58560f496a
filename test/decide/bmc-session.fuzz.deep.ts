import t from 'tap'
import { fuzzSession } from './bmc-fuzz.ts'

const SEED = Number(process.env.FUZZ_SEED ?? 21)
const PACKETS = Number(process.env.FUZZ_PACKETS ?? 10_000_000)

t.setTimeout(3_600_000)
t.test(`${PACKETS} mutated answers, in bounded memory (seed ${SEED})`, async (t) => {
  const before = process.memoryUsage().rss
  await fuzzSession(t, PACKETS, SEED)
  const grown = (process.memoryUsage().rss - before) / 2 ** 20
  t.comment(`grown by ${Math.round(grown)} MiB`)
  t.ok(grown < 128)
})
