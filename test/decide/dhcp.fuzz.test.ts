import t from 'tap'
import { surviveMutations } from './mutated-dhcp.ts'

t.setTimeout(600_000)
t.test('a million mutated packets: the codec’s own error or an answer that holds', (t) =>
  surviveMutations(t, 1_000_000)
)
