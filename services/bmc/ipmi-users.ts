// Users of the BMC, and the one password that is ours to change (IPMI 2.0, sections 22.26 to 22.30).

import type { BmcUser } from '../../src/domain/bmc-report.ts'
import { passwordNotKept, unknownUser } from '../../src/decide/bmc-failure.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import { getUserAccess } from '../../src/wire/ipmi/command/get-user-access.ts'
import {
  PASSWORD_WRONG_SIZE,
  setUserPassword,
  type PasswordSize
} from '../../src/wire/ipmi/command/set-user-password.ts'
import { getUserName } from '../../src/wire/ipmi/command/user-name.ts'
import type { Exchange } from './ipmi-exchange.ts'
import { lanChannel } from './ipmi-lan.ts'

/** Users with a name or with access; user 1 is the anonymous one on most. */
export async function readUsers(exchange: Exchange): Promise<BmcUser[]> {
  const channel = await lanChannel(exchange)
  const { userIds } = await exchange.run(getUserAccess, { channel, user: 1 })
  const users: BmcUser[] = []
  for (let id = 1; id <= userIds; id++) {
    const nameAnswer = await exchange.ask(getUserName, { user: id })
    // Unused IDs are refused by some, without a name at others.
    const name =
      nameAnswer.completionCode === COMPLETION.ok ? exchange.read(getUserName, nameAnswer).name : ''
    if (name === '' && id > 1) continue
    const answer = await exchange.ask(getUserAccess, { channel, user: id })
    if (answer.completionCode !== COMPLETION.ok) continue
    const { enabled, ipmiMessaging, privilege } = exchange.read(getUserAccess, answer)
    users.push({ id, name, enabled, ipmi: ipmiMessaging, privilege })
  }
  return users
}

/** The ID of the user we are logged in as. */
export async function ownUserId(exchange: Exchange): Promise<number> {
  const wanted = Buffer.from(exchange.access.username).toString('latin1')
  const own = (await readUsers(exchange)).find(({ name }) => name === wanted)
  if (!own) throw unknownUser(exchange.access)
  return own.id
}

/**
 * Stores a password and lets the BMC test it: in 20 bytes, or in 16 where the BMC has no more and it fits whole. AppError
 * when it does not fit: it is never cut.
 */
export async function storePassword(exchange: Exchange, user: number, password: Buffer): Promise<void> {
  const sizes: PasswordSize[] = password.length > 16 ? [20] : [20, 16]
  for (const size of sizes) {
    const answer = await exchange.ask(setUserPassword, { user, operation: 'set', password, size })
    const tooLong = (
      [COMPLETION.requestLength, COMPLETION.tooLong, COMPLETION.invalidField] as number[]
    ).includes(answer.completionCode)
    if (tooLong && size !== sizes.at(-1)) continue
    exchange.read(setUserPassword, answer)
    const tested = await exchange.ask(setUserPassword, { user, operation: 'test', password, size })
    // A BMC without the test is believed until the log-in that follows.
    const untested = ([COMPLETION.invalidField, COMPLETION.invalidCommand] as number[]).includes(
      tested.completionCode
    )
    if (untested || tested.completionCode === COMPLETION.ok) return
    if (tested.completionCode === PASSWORD_WRONG_SIZE && size !== sizes.at(-1)) continue
    throw passwordNotKept(exchange.access, tested.completionCode, setUserPassword.completionWords)
  }
}
