from pgkd.cli.app import main

main()
