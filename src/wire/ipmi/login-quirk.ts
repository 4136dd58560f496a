// Departures from the standard by which boards would keep us out, and what is done differently for each. The board makers'
// other departures need no row: checksums inside a session are not looked at (Supermicro X9), the flags of Get Channel
// Authentication Capabilities decide nothing (Asus, Intel SR1520, Sun ELOM), the offered suites are only a message
// (Supermicro X8, MSI, Intel Windmill), and a refusal of one suite, whatever its status, leads to the next.

export type LoginQuirkName = 'open-privilege' | 'intel-20'

export type LoginQuirk = {
  name: LoginQuirkName
  /** Makers and models it was seen on. */
  boards: string
  /** `rakp-2`: it shows in the BMC's code; `operator`: it does not show, and has to be set for the BMC. */
  shownBy: 'rakp-2' | 'operator'
  /** Open Session asks for the role's privilege, not for "the highest that fits", and RAKP 1 names the very same byte. */
  roleEverywhere: boolean
  /** The user name travels and is hashed padded with zeros to 16 bytes. */
  paddedName: boolean
  /** RAKP 3's code is made with the bare privilege, without the bit "look up by name alone". */
  bareRoleInRakp3: boolean
}

export const LOGIN_QUIRKS: readonly LoginQuirk[] = [
  {
    // It hashes the privilege of Open Session where RAKP 1's role belongs.
    name: 'open-privilege',
    boards: 'Sun ILOM, Dell C5220, Supermicro X8, Intel S5500 and S2600JF, Quanta',
    shownBy: 'rakp-2',
    roleEverywhere: true,
    paddedName: false,
    bareRoleInRakp3: false
  },
  {
    name: 'intel-20',
    boards: 'Intel SE7520AF2',
    shownBy: 'operator',
    roleEverywhere: false,
    paddedName: true,
    bareRoleInRakp3: true
  }
]

/** The quirk of that name, or undefined. */
export function loginQuirk(name: string): LoginQuirk | undefined {
  return LOGIN_QUIRKS.find((row) => row.name === name)
}
