fn main() -> std::process::ExitCode {
    souk::cli::main()
}
