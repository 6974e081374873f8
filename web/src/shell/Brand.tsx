// The mark and the name.
import { page } from "../api/paths";
import { t } from "../strings";

export function Brand() {
  return (
    <a className="brand" href={window.location.pathname === "/login" ? "/" : page.home} aria-label={t.shell.home}>
      <svg viewBox="0 0 32 32" width="20" height="20" aria-hidden><path d="M12 5h7L11 27H4zM22 5h7l-8 22h-7z" fill="#e8602c" /></svg>
      <b>{t.product}</b>
    </a>
  );
}
