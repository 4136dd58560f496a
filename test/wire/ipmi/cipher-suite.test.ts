import t from 'tap'
import {
  algorithmNumbers,
  cipherSuite,
  sameAlgorithms,
  suiteOfAlgorithms
} from '../../../src/wire/ipmi/cipher-suite.ts'

t.test('the numbers of table 22-20, and which suites may be used', (t) => {
  const table = [
    [0, 0, 0, 0, 'never'],
    [1, 1, 0, 0, 'forced'],
    [2, 1, 1, 0, 'forced'],
    [3, 1, 1, 1, 'free'],
    [15, 3, 0, 0, 'forced'],
    [16, 3, 4, 0, 'forced'],
    [17, 3, 4, 1, 'free']
  ] as const
  for (const [id, authentication, integrity, confidentiality, use] of table) {
    const suite = cipherSuite(id)
    if (!suite) throw new Error(`no suite ${id}`)
    const numbers = { authentication, integrity, confidentiality }
    t.same(algorithmNumbers(suite), numbers)
    t.equal(suite.use, use, `suite ${id}`)
    t.equal(suiteOfAlgorithms(numbers), suite)
  }
  t.end()
})

t.test('xRC4, MD5 and OEM suites are not known at all', (t) => {
  for (const id of [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 18, 128]) t.equal(cipherSuite(id), undefined)
  t.equal(suiteOfAlgorithms({ authentication: 1, integrity: 1, confidentiality: 2 }), undefined)
  t.end()
})

t.test('suites are the same only when all three algorithms are', (t) => {
  const suite3 = { authentication: 1, integrity: 1, confidentiality: 1 }
  t.ok(sameAlgorithms(suite3, { ...suite3 }))
  for (const other of ['authentication', 'integrity', 'confidentiality']) {
    t.notOk(sameAlgorithms(suite3, { ...suite3, [other]: 0 }), other)
  }
  t.end()
})
