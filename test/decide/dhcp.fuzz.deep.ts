import t from 'tap'
import { surviveMutations } from './mutated-dhcp.ts'

t.setTimeout(3_600_000)
t.test('ten million mutated packets: the codec’s own error or an answer that holds', (t) =>
  surviveMutations(t, 10_000_000)
)
