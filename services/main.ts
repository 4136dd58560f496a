// The one entry point: `seedling serve` is the appliance, everything else is its client.

import { AppError } from '../src/domain/error.ts'
import { FENCED_EXIT } from '../src/domain/standing.ts'

const [command, ...rest] = process.argv.slice(2)
try {
  if (command === 'serve') {
    const { serve } = await import('./serve.ts')
    await serve(rest)
  } else if (command === 'backup' && rest.some((arg) => /^--config(=|$)/.test(arg))) {
    const { stoppedBackupCommand } = await import('./restore.ts')
    process.exitCode = await stoppedBackupCommand(rest)
  } else if (command === 'restore') {
    const { restoreCommand } = await import('./restore.ts')
    process.exitCode = await restoreCommand(rest)
  } else if (command === 'rollback') {
    const { rollbackCommand } = await import('./restore.ts')
    process.exitCode = await rollbackCommand(rest)
  } else if (command === 'unfence') {
    const { unfenceCommand } = await import('./restore.ts')
    process.exitCode = await unfenceCommand(rest)
  } else if (command === 'appliance') {
    const { appliance } = await import('./appliance.ts')
    await appliance(rest)
  } else {
    const { runCli } = await import('./cli/cli.ts')
    process.exitCode = await runCli(process.argv)
  }
} catch (error) {
  // What the operator can mend is told in one message; anything else is our bug and ends the process as such.
  if (!(error instanceof AppError)) throw error
  process.stderr.write(`seedling: ${error.message}\n`)
  process.exit(error.code === 'fenced' ? FENCED_EXIT : 1)
}
