// Opens the state in the folder that its argument names, says when it begins and when it has it.

import { openStore } from '../../services/store/open.ts'

process.stdout.write('opening\n')
openStore(process.argv[2] ?? '')
process.stdout.write('open\n')
