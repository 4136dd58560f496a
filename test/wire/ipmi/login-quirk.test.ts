import t from 'tap'
import { loginQuirk, LOGIN_QUIRKS } from '../../../src/wire/ipmi/login-quirk.ts'

t.test('every quirk is found by its name, departs in something, and at most one shows by itself', (t) => {
  for (const row of LOGIN_QUIRKS) {
    t.equal(loginQuirk(row.name), row)
    t.ok(row.roleEverywhere || row.paddedName || row.bareRoleInRakp3, row.name)
  }
  // The session tells it by one other way of hashing RAKP 2.
  const shown = LOGIN_QUIRKS.filter(({ shownBy }) => shownBy === 'rakp-2')
  t.same(
    shown,
    LOGIN_QUIRKS.filter(({ roleEverywhere }) => roleEverywhere)
  )
  t.equal(shown.length, 1)
  t.equal(loginQuirk('no such'), undefined)
  t.end()
})
