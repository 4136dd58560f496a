import t from 'tap'
import { parseNeighbours } from '../../services/neighbours.ts'

// Written by Linux 6.18.
const TABLE = `IP address       HW type     Flags       HW address            Mask     Device
192.0.2.8        0x1         0x2         02:00:00:00:00:08     *        lan
192.0.2.9        0x1         0x0         02:00:00:00:00:09     *        lan
192.0.2.3        0x1         0x0         00:00:00:00:00:00     *        lan
192.0.2.200      0x1         0x6         02:00:00:00:00:0A     *        lan
192.0.2.8        0x1         0x2         02:00:00:00:00:ff     *        office
`

t.test('the neighbours of a link, of those that answered', async (t) => {
  const found = parseNeighbours(TABLE, 'lan')
  t.same([...found], [['192.0.2.8', '02:00:00:00:00:08'], ['192.0.2.200', '02:00:00:00:00:0a']]) // prettier-ignore
  t.same([...parseNeighbours(TABLE, 'wan')], [])
  t.same([...parseNeighbours('', 'lan')], [])
})
