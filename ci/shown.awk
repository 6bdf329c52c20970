# Rust source or Markdown, to the same with each example as a reader sees it: without its hidden lines, and as
# what is pasted into `fn main() -> Result<(), Box<dyn std::error::Error>>`, which is compiled, and not run.
{
  prefix = match($0, /^[ \t]*\/\/[\/!] ?/) ? substr($0, 1, RLENGTH) : ""
  text = substr($0, length(prefix) + 1)
}
!inside && text ~ /^```/ {
  inside = 1
  rust = text ~ /^```(rust|no_run)?$/
  whole = 0
  if (rust) $0 = prefix "```no_run"
  print
  next
}
inside && text ~ /^```/ {
  inside = 0
  if (rust && !whole) print prefix "# Ok::<(), Box<dyn std::error::Error>>(())"
  print
  next
}
inside && rust && text ~ /^ *#( |$)/ { print prefix; next }
inside && rust && text ~ /^fn main\(/ { whole = 1 }
{ print }
