import t from 'tap'
import { fuzzSession } from './bmc-fuzz.ts'

const SEED = Number(process.env.FUZZ_SEED ?? 20)
const PACKETS = Number(process.env.FUZZ_PACKETS ?? 1_000_000)

t.test(`${PACKETS} mutated answers never throw and never pass for the real one (seed ${SEED})`, (t) =>
  fuzzSession(t, PACKETS, SEED)
)
