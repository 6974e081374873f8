// The mark and the name.
import { page } from "../api/paths";

export function Brand() {
  return (
    <a className="brand" href={window.location.pathname === "/login" ? "/" : page.home} aria-label="Ferroflow, home">
      <svg viewBox="0 0 32 32" width="20" height="20" aria-hidden><path d="M12 5h7L11 27H4zM22 5h7l-8 22h-7z" fill="#e8602c" /></svg>
      <b>Ferroflow</b>
    </a>
  );
}
