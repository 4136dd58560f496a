import t from 'tap'
import { bmcAccess } from '../../src/domain/bmc-access.ts'

const node = (driverInfo: Record<string, unknown>) =>
  ({ driver: 'ipmi', name: 'n1', uuid: '5d27f5ac-0a3a-4d5c-8d7b-0c8d8a3b9c11', driverInfo }) as const
const GIVEN = { ipmi_address: '192.0.2.7', ipmi_username: 'admin', ipmi_password: 'secret123' }

t.test('what is not told: port 623, IPMI 2.0, suites 17 then 3, the highest privilege', (t) => {
  t.same(bmcAccess(node(GIVEN)), {
    driver: 'ipmi',
    address: '192.0.2.7',
    port: 623,
    username: 'admin',
    password: 'secret123',
    protocol: '2.0',
    cipherSuites: [17, 3],
    kg: '',
    privilege: 'highest',
    loginQuirk: null
  })
  t.end()
})

const READ: Record<string, [given: Record<string, unknown>, access: Record<string, unknown>]> = {
  'a weak suite, named, is forced': [{ ipmi_cipher_suite: 2 }, { cipherSuites: [2] }],
  'IPMI 1.5, named, is forced': [{ ipmi_protocol_version: '1.5' }, { protocol: '1.5' }],
  'IPMI 2.0 as Ironic writes it': [{ ipmi_protocol_version: '2.0' }, { protocol: '2.0' }],
  'a privilege in Ironic’s capitals': [{ ipmi_priv_level: 'OPERATOR' }, { privilege: 'operator' }],
  'administrator and nothing less': [{ ipmi_priv_level: 'ADMINISTRATOR' }, { privilege: 'administrator' }],
  'a BMC key': [{ ipmi_hex_kg_key: 'C0FFEE' }, { kg: 'c0ffee' }],
  'a quirk': [{ ipmi_login_quirk: 'intel-20' }, { loginQuirk: 'intel-20' }],
  'a password of 20 bytes': [{ ipmi_password: 'x'.repeat(20) }, { password: 'x'.repeat(20) }],
  'digits are text all the same': [{ ipmi_password: 12345678 }, { password: '12345678' }]
}
for (const [name, [given, access]] of Object.entries(READ)) {
  t.test(`read: ${name}`, (t) => {
    t.match(bmcAccess(node({ ...GIVEN, ...given })), access)
    t.end()
  })
}

const REFUSED: Record<string, [given: Record<string, unknown>, fault: RegExp]> = {
  'no address': [{ ipmi_address: '' }, /ipmi_address is missing/],
  'suite 0': [{ ipmi_cipher_suite: 0 }, /is never used: it lets anyone in/],
  'an MD5 suite': [{ ipmi_cipher_suite: 8 }, /8 is not offered/],
  'no suite': [{ ipmi_cipher_suite: 'best' }, /best is not offered/],
  'a password of 21 bytes': [{ ipmi_password: 'x'.repeat(21) }, /longer than the 20 bytes/],
  'a password of 11 letters and 22 bytes': [{ ipmi_password: 'é'.repeat(11) }, /longer than the 20 bytes/],
  'a password of 17 bytes for IPMI 1.5': [
    { ipmi_protocol_version: '1.5', ipmi_password: 'x'.repeat(17) },
    /longer than the 16 bytes that IPMI 1\.5/
  ],
  'a user name of 17 bytes': [{ ipmi_username: 'x'.repeat(17) }, /ipmi_username is longer/],
  'a version that never was': [{ ipmi_protocol_version: '3.0' }, /must be 2\.0 or 1\.5/],
  'a key that is not hex': [{ ipmi_hex_kg_key: 'xyz' }, /hex digits/],
  'a privilege that is none': [{ ipmi_priv_level: 'ROOT' }, /must be ADMINISTRATOR or OPERATOR/],
  'a quirk nobody knows': [{ ipmi_login_quirk: 'odd' }, /these are: open-privilege, intel-20/],
  'a port that is none': [{ ipmi_port: 70000 }, /is not a port/]
}
for (const [name, [given, fault]] of Object.entries(REFUSED)) {
  t.test(`refused: ${name}`, (t) => {
    try {
      bmcAccess(node({ ...GIVEN, ...given }))
      t.fail('it was taken')
    } catch (error) {
      t.match(error, { code: 'bad-request', message: fault })
      const password = given.ipmi_password ?? GIVEN.ipmi_password
      t.notMatch((error as Error).message, String(password), 'and the password is not told')
    }
    t.end()
  })
}
