import t from 'tap'
import { admits, afterFailure, CLOSED, type Breaker } from '../../src/decide/bmc-breaker.ts'
import { AppError, type ErrorCode } from '../../src/domain/error.ts'

/** After so many failures in a row at time 0: how long until the next try, without jitter. */
function pause(code: ErrorCode, times: number): number {
  let breaker: Breaker = CLOSED
  for (let count = 0; count < times; count++) breaker = afterFailure(breaker, new AppError(code, 'x'), 0, 0.5)
  return Math.max(0, breaker.retryAt)
}

t.test('silence is tolerated twice, then answered with pauses that double up to two minutes', (t) => {
  t.same(
    [1, 2, 3, 4, 5, 6, 7, 8, 9].map((times) => pause('bmc-unreachable', times) / 1000),
    [0, 0, 5, 10, 20, 40, 80, 120, 120]
  )
  t.end()
})

t.test('a wrong password is not tried again for a minute, and at most five times in half an hour', (t) => {
  const pauses = [1, 2, 3, 4, 5, 6, 7, 8].map((times) => pause('bmc-auth', times) / 60_000)
  t.same(pauses, [1, 2, 4, 8, 16, 32, 60, 60])
  t.end()
})

t.test('a refused command is an answer: nothing is held against the BMC', (t) => {
  const bad = afterFailure(CLOSED, new AppError('bmc-unreachable', 'x'), 0, 0)
  t.same(afterFailure(bad, new AppError('bmc-refused', 'x'), 0, 0), CLOSED)
  t.end()
})

t.test('BMCs that failed together do not come back together', (t) => {
  const at = (jitter: number) => afterFailure(CLOSED, new AppError('bmc-auth', 'x'), 0, jitter).retryAt
  t.same([at(0), at(0.5), at(1)], [45_000, 60_000, 75_000])
  t.end()
})

t.test('nothing is tried before the time, and one try after it', (t) => {
  const breaker = afterFailure(CLOSED, new AppError('bmc-auth', 'x'), 1000, 0.5)
  t.notOk(admits(breaker, 60_999))
  t.ok(admits(breaker, 61_000))
  t.ok(admits(CLOSED, 0))
  t.end()
})
